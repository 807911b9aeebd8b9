"""Training ICNet, and the generated scenes that stand in for images where none may be shipped."""
