"""What the scripts of Tables 1, 2, 4 and 5 share: data, latents, generators, samples, figures."""
