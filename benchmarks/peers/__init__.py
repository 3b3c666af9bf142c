"""What a user would do instead of making a bundle, built and timed beside our bundles in one run."""
