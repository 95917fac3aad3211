"""A variational autoencoder in PyTorch whose log p(x) is known: its log weights, handed to a ladder in pieces.

    z ~ N(0, I),  x given z ~ N(W z + b, σ² I);  q(z given x) = N(A x + c, diag s²), trained on the ELBO

The decoder is linear, so that log p(x) = log N(x; b, W Wᵀ + σ² I) exactly. Any other model hands over its weights in
the same way: float32 as they are, a piece at a time, each with the index of its first sample. Run it where PyTorch is:

    python bench/examples/pytorch_vae.py [log2 of the number of weights]
"""

import math
import sys

import torch

import logpx

P, D, PIECE = 6, 2, 1 << 14
torch.manual_seed(0)


class VAE(torch.nn.Module):
    """The decoder W, b, log σ and the encoder A, c, log s."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = torch.nn.Linear(D, P), torch.nn.Linear(P, D)
        self.log_noise, self.log_scale = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.zeros(D))

    def log_weights(self, x, n):
        """n log weights log p(x, z) − log q(z given x) for each row of x: (rows, n)."""
        q = torch.distributions.Normal(self.encoder(x), self.log_scale.exp())
        z = q.rsample((n,))
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        likelihood = torch.distributions.Normal(self.decoder(z), self.log_noise.exp()).log_prob(x).sum(-1)
        return (prior + likelihood - q.log_prob(z).sum(-1)).T

    def exact(self, x):
        """log p(x) in double precision."""
        w, b = self.decoder.weight.double(), self.decoder.bias.double()
        covariance = w @ w.T + torch.exp(2 * self.log_noise.double()) * torch.eye(P, dtype=torch.double)
        return torch.distributions.MultivariateNormal(b, covariance).log_prob(x.double())


def main(power=18):
    """Train, then estimate log p(x) of the first observation; the error in standard errors."""
    data = torch.randn(512, D) @ torch.randn(D, P) + 0.5 * torch.randn(512, P)
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (-vae.log_weights(data, 4).mean()).backward()
        optimizer.step()

    ladder, x = logpx.Ladder(), data[:1]
    for start in range(0, 1 << power, PIECE):
        ladder.update(vae.log_weights(x, PIECE)[0], start)  # float32, and recording gradients: both are fine

    est, exact = ladder.estimate(), vae.exact(x)[0].item()
    z = (est.log_marginal - exact) / est.std_error
    print(f"log p(x) = {est.log_marginal:.4f} ± {est.std_error:.4f} nats; exactly {exact:.4f}, z = {z:+.2f}")
    print(f"ELBO {est.elbo:.4f}, bound at k = 64 {est.bound(64).value:.4f}, ESS {est.ess:.0f} of {est.n_samples}")
    print(est.warnings or "nothing speaks against it")
    return z


if __name__ == "__main__":
    sys.exit(0 if math.fabs(main(*map(int, sys.argv[1:]))) < 5 else 1)
