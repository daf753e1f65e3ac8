import { frechetDistance } from "../frechet.js";
import type { Metric } from "../score/metrics.js";

/**
 * The Fréchet distance of spatial features, 7 channels of Inception's `mixed_6/conv` at 17 x 17 places. It sees
 * where things are, which the mean over places does not.
 *
 * Source: Nash et al. 2021, arXiv:2103.03841; ADM's suite, openai/guided-diffusion@1b61a43 evaluations/evaluator.py.
 */
export const spatialDistance: Metric = {
  measures: {
    sfid: {
      ...{ label: "Spatial distance (sFID)", best: "lower" },
      meaning:
        "Fréchet distance of 7 channels of Inception at 17 x 17 places: it sees where things are. As ADM's suite (Nash et al. 2021).",
    },
  },
  async of({ spatial: reference }, { spatial: samples }) {
    return reference && samples && { sfid: frechetDistance(reference, samples) };
  },
};
