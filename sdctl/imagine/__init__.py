"""From prompts to image files: the parts of `sdctl imagine`."""
