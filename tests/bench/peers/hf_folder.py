"""Makes a Hugging Face folder in float32 of a GGUF file, for peers that read nothing else: hf_folder.py FILE.gguf FOLDER."""

import pathlib
import sys

import torch
import transformers

source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
read = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
settings = read.config.to_dict()
settings.pop("quantization_config", None)
# A model of the same numbers that was never quantised: transformers writes no other.
model = type(read)(type(read.config).from_dict(settings)).to(torch.float32)
model.load_state_dict(read.state_dict())
model.save_pretrained(folder)
