"""The self-test: attacks and verdicts held to closed forms, known-broken purifiers brought down."""
