"""The official evaluation of ICNet."""
