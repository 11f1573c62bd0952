"""One module per family of images. ``catalog`` says which tag is made by which."""
