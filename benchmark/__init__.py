"""The harness: vocabulary, interfaces, running, keeping, publishing, the command line."""
