"""Models: the video transformer, its cache, the text encoder and VAE around it, and loading from folders."""
