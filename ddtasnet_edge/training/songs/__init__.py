"""Songs with known stems, made from seeds (`ddtasnet-songs`)."""
