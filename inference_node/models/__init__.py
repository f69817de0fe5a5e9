"""The model files of a node: the folder, the catalogue, fetching."""
