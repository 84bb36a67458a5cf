"""What runs a model: a file a backend, one line in the catalogue."""

from coldmark.core.catalogue import Catalogue, Entry

BACKENDS = Catalogue(
    "backend",
    {
        "openvino": Entry(
            "coldmark.backends.openvino:BACKEND",
            "OpenVINO on CPU: asynchronous requests, streams",
            "openvino",
            "",
        ),
        "onnxruntime": Entry(
            "coldmark.backends.onnxruntime:BACKEND", "ONNX Runtime on CPU", "onnxruntime", "onnxruntime"
        ),
        "twin": Entry("coldmark.backends.twin:BACKEND", "a simulated server, in virtual time"),
        "null": Entry("coldmark.backends.null:BACKEND", "answers at once: it measures the harness"),
    },
)
