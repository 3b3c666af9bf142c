"""Training (`ddtasnet-train`): what `pip install 'ddtasnet-edge[train]'` brings to life."""
