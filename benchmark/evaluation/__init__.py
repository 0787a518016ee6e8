"""An evaluation: a request made ready (`prepare`), then run (`execute`)."""
