"""logpx: Monte Carlo estimators of log p(x) for latent-variable models."""
