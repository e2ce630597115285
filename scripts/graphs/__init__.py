"""The shipped graphs, described node by node; `build_workflows.py` writes them."""
