"""``icnet-serve``: label maps over HTTP."""
