"""earwitness: was the speech in this recording made by a machine?

    from earwitness import DetectorInput, OnnxAudioDetector

    finding = OnnxAudioDetector().analyze(DetectorInput(path))
    finding.verdict, finding.p_fake, finding.explanations

These names are the public API; the modules beside them may change between releases.
"""

from earwitness.detector import Detector, DetectorInput, DetectorOutput
from earwitness.errors import EarwitnessError, HostError, InputError, ModelError
from earwitness.finding import Abstention, MediaInfo, Stretch, Verdict, WindowScore
from earwitness.model_spec import ModelSpec, load_spec
from earwitness.onnx_detector import OnnxAudioDetector

__version__ = "0.1.0"

__all__ = [
    "Abstention",
    "Detector",
    "DetectorInput",
    "DetectorOutput",
    "EarwitnessError",
    "HostError",
    "InputError",
    "MediaInfo",
    "ModelError",
    "ModelSpec",
    "OnnxAudioDetector",
    "Stretch",
    "Verdict",
    "WindowScore",
    "__version__",
    "load_spec",
]
