"""REST-JSON, driven by the service model: paths, requests, constraints and answers."""
