"""Training data and training: what `pip install 'ddtasnet-edge[train]'` brings to life."""
