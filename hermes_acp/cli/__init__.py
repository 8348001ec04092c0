"""One module for each command of `hermes-editor`."""
