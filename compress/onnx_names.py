"""Input, output and attribute slots of onnxruntime's GroupQueryAttention, and file names of ONNX graphs.

Source: the operator's schema in onnxruntime's ContribOperators.
"""

PAST, PRESENT, SCALES = (3, 4), (1, 2), (12, 13)
"""The inputs that keys and values come in by, the outputs that they leave by, the inputs of their scales."""
QUANT_TYPES, BIT_WIDTH = ("k_quant_type", "v_quant_type"), "kv_cache_bit_width"
"""The attributes that an int8 cache has."""
SCALE = ".scale"
"""What the name of a scale adds to that of the input that it scales."""
LENGTHS = 5
"""The input that says where each text's last token lies, counted from 0."""
ENCODER, DECODER = "encoder_model.onnx", "decoder_model_merged.onnx"
"""The files of an encoder-decoder's two graphs, as optimum names them."""
