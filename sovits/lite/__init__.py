"""The lite family: upstream's text, codes and latent path with a decoder that works at frame rate."""
