"""A slide file as pyramid levels, microns and pixels."""
