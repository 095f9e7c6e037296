"""The same GGUF file with every tensor in float32, so that llama.cpp computes its weights without rounding activations.

  pip install gguf && python widen.py MODEL.gguf OUT.gguf
"""
import sys
import gguf
import numpy as np

reader = gguf.GGUFReader(sys.argv[1])
architecture = reader.fields["general.architecture"].contents()
writer = gguf.GGUFWriter(sys.argv[2], architecture)
for name, field in reader.fields.items():
    if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
        continue
    value, kind = field.contents(), field.types[0]
    writer.add_key_value(name, value, kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
writer.add_file_type(0)
for tensor in reader.tensors:
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    writer.add_tensor(tensor.name, values)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
