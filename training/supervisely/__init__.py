"""Training on Supervisely's projects, as its ICNet plugin does."""
