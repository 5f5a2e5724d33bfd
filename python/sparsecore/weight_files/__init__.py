"""Files of weights, opened without the model: safetensors, torch's, ONNX, npz.

`open_weights` reads headers; a weight is read when it is asked for.
"""

from sparsecore.weight_files.entry import Entry, Use
from sparsecore.weight_files.opening import open_weights
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["Entry", "Use", "WeightFiles", "open_weights"]
