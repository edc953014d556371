"""Where series come from: each module turns one kind of source into the long frame."""
