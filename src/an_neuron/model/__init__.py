"""The model: its folder and tokenizer, where it comes from, loading it, devices, and the decoder inside."""
