r"""The story: from latent variables to what an error in log p(x) costs, with the figures where they belong.

It starts where a maximum-likelihood view of latent-variable models starts, the integral over z, and follows the
estimates of that integral to the point where their logarithm is taken and used. No measured number is typed here: each
comes out of `Facts`, and where a sentence compares, it compares first. A figure whose experiment is not in the store
leaves a note in its place.
"""

from __future__ import annotations

import math

from logpx_bench.page import findings, results, where
from logpx_bench.page.blocks import Block, Equation, Heading, Listing, Paragraph
from logpx_bench.page.facts import Facts
from logpx_bench.page.places import figure, guest, numbered


def blocks(facts: Facts) -> list[Block]:
    """The whole page."""
    chapters = (
        opening,
        models,
        integral,
        uniform,
        importance,
        logarithm,
        rates,
        monte_carlo,
        dimension,
        comparing,
        cost,
        very_large,
        others,
        beside,
    )
    story = [block for chapter in chapters for block in chapter(facts)]
    story += [block for model in facts.guests for block in guest(facts, model)]
    story += [Heading(2, "Results"), *results.results(facts)]
    story += [Heading(2, "Where the numbers come from"), *results.provenance(facts)]
    return numbered([*story, Heading(2, "Sources"), Listing(SOURCES)])


def opening(facts: Facts) -> list[Block]:
    """The title, the question, and the findings in short."""
    text = (
        "A model with latent variables $z$ gives each observation $x$ a probability $p(x)$, but only as an integral "
        "over everything that $z$ might have been. When the integral has no closed form it is estimated from $k$ "
        "random samples, and what is reported is the logarithm of the estimate. This page measures what that costs: "
        "how wrong $\\log \\hat p(x)$ is at each $k$, in which direction, how that depends on where the samples are "
        "drawn, and how often it leads to the wrong choice between two models. " + findings.truth_words(facts)
    )
    found = findings.short(facts)
    lists: list[Block] = [Listing(tuple(found))] if found else []
    return [Heading(1, "How wrong is an estimate of log p(x)?"), Paragraph(text), *lists]


def models(facts: Facts) -> list[Block]:
    """What latent variables are for, and which models can be sampled."""
    return [
        Heading(2, "Models with hidden causes"),
        Paragraph(
            "Images, recordings and measurements vary in many ways at once, yet the variation often has few causes. "
            "A picture of a face looks as it does because of a person's age, their hair, the light; were these known "
            "for each picture, describing the pixels would be easy. They are not known. A latent-variable model "
            "keeps a place for them, $z$, says how $x$ follows from $z$, and leaves it to the data what $z$ comes to "
            "mean."
        ),
        Paragraph(
            "The simplest such models are linear. Principal component analysis (PCA) finds a few orthogonal "
            "directions along which the data varies most and describes each observation by its coordinates along "
            "them; the loadings tell what each direction does to each variable. Factor models drop the demand that "
            "the directions be orthogonal and let every variable have noise of its own. Autoencoders replace both "
            "maps, into $z$ and back, by neural networks. As algorithms these compress and restore, and stop there: "
            "they define no distribution over $x$, so nothing new can be drawn from them and no $p(x)$ can be asked "
            "of them. Stating the noise and a distribution of $z$ turns the first two into probabilistic PCA (PPCA) "
            "and factor analysis, and the third into the variational autoencoder. These can be sampled, and have a "
            "likelihood."
        ),
        *findings.data_words(facts),
        figure(facts, "digits"),
    ]


def integral(facts: Facts) -> list[Block]:
    """The marginal likelihood, and why the models here have it exactly."""
    return [
        Heading(2, "The integral in the likelihood"),
        Paragraph(
            "To fit such a model by maximum likelihood, or to say how well it explains data it has not seen, one "
            "needs the probability of what was observed alone. The model gives the joint probability of $x$ and $z$; "
            "the latent has to be summed out, for each observation:"
        ),
        Equation(
            r"\log p(\mathcal{D}) = \sum_{x \in \mathcal{D}} \log p(x) "
            r"= \sum_{x \in \mathcal{D}} \log \int p(x, z) dz"
        ),
        Paragraph(
            "There is a circle in this. Finding $p(x)$ would be easy with $z$ in hand, and good values of $z$ would "
            "be easy to find with a fitted model in hand; neither is given. For a general model the integral runs "
            "over every explanation of $x$, likely or not, and cannot be done. For PPCA and factor analysis it can: "
            "with $z$ normal and $x$ linear in $z$, $x$ is normal as well, with covariance $W W^\\top + \\Psi$. That "
            "is why they are measured here, as is a variational autoencoder of one or two latents, whose integral a "
            "quadrature can do to a certified error. What is learned about the estimators does not depend on the exact "
            "answer; only the ability to check does."
        ),
    ]


def uniform(facts: Facts) -> list[Block]:
    """Uniform Monte Carlo, and what its weights look like."""
    return [
        Heading(2, "Sampling everywhere"),
        Paragraph(
            "A sum that is too long can be estimated from some of its terms. If $z$ has finitely many states, "
            "$\\mathcal{Z}$, the sum is their number times an average under the uniform distribution, and an average "
            "can be estimated from $k$ draws:"
        ),
        Equation(
            r"p(x) = |\mathcal{Z}| \cdot \mathbb{E}_{z \sim \mathcal{U}(\mathcal{Z})} [ p(x, z) ] "
            r"\approx \dfrac{|\mathcal{Z}|}{k} \sum_{j=1}^{k} p(x, z_j)"
        ),
        Paragraph(
            "For a continuous $z$ the set becomes a box and $|\\mathcal{Z}|$ its volume. A box leaves out the tails "
            "of an unbounded latent; "
            "here it is made large enough that hardly anything is missing"
            + findings.box_words(facts)
            + ". Up to that, the estimate is right on average and, by the law of large numbers, "
            "converges. It is also wasteful, because nearly every explanation drawn blindly is a bad one: a handful "
            "of draws near the true explanation carry the sum, and the rest add almost nothing. The effective sample "
            "size (ESS) counts how many equal weights would do as well. " + findings.weights_sentence(facts)
        ),
        figure(facts, "log_weights"),
    ]


def importance(facts: Facts) -> list[Block]:
    """Importance sampling, and the first comparison of errors."""
    return [
        Heading(2, "Sampling where it matters"),
        Paragraph(
            "It helps to draw where $p(x, z)$ is large. Take any distribution $q(z)$ that covers the posterior, "
            "multiply and divide by it, and the integral is again an average, now under $q$:"
        ),
        Equation(
            r"p(x) = \int q(z) \dfrac{p(x, z)}{q(z)} dz = \mathbb{E}_{z \sim q} [ w ], \qquad "
            r"w = \dfrac{p(x, z)}{q(z)}, \qquad \hat p_k(x) = \dfrac{1}{k} \sum_{j=1}^{k} w_j"
        ),
        Paragraph(
            "The uniform distribution and the prior $p(z)$ are two choices of $q$; neither goes where $x$ points. A "
            "$q$ made for this $x$, as the encoder of a variational autoencoder makes one, can do better, and the "
            "exact posterior would do best: every weight then equals $p(x)$ and one sample is enough. What is called "
            "importance sampling here takes for $q$ a normal distribution around the posterior mean, independent for "
            "each latent (mean-field) and somewhat wider than that alone would be, so that the weights have a finite "
            "variance: close to the posterior, but not equal to it, as a good encoder would be."
        ),
        figure(facts, "error_against_k"),
    ]


def logarithm(facts: Facts) -> list[Block]:
    """Why the log biases the estimate, the ELBO as k = 1, and the IWAE bounds."""
    return [
        Heading(2, "What the logarithm does"),
        Paragraph(
            "The average of the weights is right on average at every $k$, even $k$ = 1. Its logarithm is not. Write "
            "$L_k$ for the log of the mean of $k$ weights. The logarithm is concave: an estimate that comes out too "
            "low loses more in the log than one that comes out too high by as much gains. By Jensen's inequality"
        ),
        Equation(
            r"\mathbb{E}[L_k] = \mathbb{E} \left[ \log \dfrac{1}{k} \sum_{j=1}^{k} w_j \right] \leq "
            r"\log \mathbb{E} \left[ \dfrac{1}{k} \sum_{j=1}^{k} w_j \right] = \log p(x)"
        ),
        Paragraph(
            "and the two are equal only where the weights do not vary. At $k$ = 1 the left side is "
            "$\\mathbb{E}_q[\\log p(x, z) - \\log q(z)]$: the evidence lower bound (ELBO), which variational "
            "inference usually reaches from the other end, through a Kullback–Leibler divergence. From here it is "
            "simply the log of an estimate that was made from a single sample, and its distance from $\\log p(x)$ is "
            "$\\mathrm{KL}(q \\Vert p(z|x))$, exactly. For larger $k$ it is the bound of the importance-weighted "
            "autoencoder (IWAE), which rises with "
            "$k$ and reaches $\\log p(x)$ in the limit."
        ),
        Paragraph(
            "How large is the gap at a given $k$? Let the mean of the weights be $p(x)(1 + \\epsilon)$. Then "
            "$\\epsilon$ has mean zero and variance $\\mathrm{Var}(w) / (k p(x)^2)$, and $\\log(1 + \\epsilon) "
            "\\approx \\epsilon - \\epsilon^2/2$. Taking the mean (this is the delta method):"
        ),
        Equation(
            r"\mathbb{E}[L_k] = \log p(x) - \dfrac{\mathrm{Var}(w)}{2 k p(x)^2} + O(k^{-2}) "
            r"= \log p(x) - \dfrac{\chi^2}{2k} + O(k^{-2})"
        ),
        Paragraph(
            "where $\\chi^2$ is that of the posterior from $q$. The bias is downward, falls as $1/k$, and its size "
            "is set by how unequal the weights are. While $k$ is below $\\chi^2$ the expansion says nothing yet: "
            "there the gap has to be measured."
        ),
        figure(facts, "jensen_gap"),
        Paragraph(
            "The same holds where $x$ follows from $z$ by a neural network. With two latents the integral over $z$ is "
            "one over a plane, and a quadrature can do it to a certified error: a variational autoencoder can then be "
            "held, image by image, against its own exact likelihood. What its training maximises is the lowest of "
            "the bounds below, with the encoder as $q$; what it is judged by is often the second. How much either "
            "leaves out is different for every image."
        ),
        figure(facts, "vae"),
    ]


def rates(facts: Facts) -> list[Block]:
    """Bias falls as 1/k, spread as the root: which of them rules where."""
    return [
        Heading(2, "Bias against spread"),
        Paragraph(
            "A single estimate is off for two reasons, and they shrink at different rates. The same expansion gives "
            "the spread of $L_k$ from one run to the next: $\\sqrt{\\chi^2 / k}$. Bias over spread is then "
            "$\\sqrt{\\chi^2 / k} / 2$. Up to about $k = \\chi^2$ the two are of a like size. Averaging the logs of "
            "repeated estimates then removes the spread and leaves the bias: better to pool the weights under one "
            "logarithm. Far beyond it the spread is the larger by far: a reported $\\log \\hat p(x)$ is then as good "
            "as unbiased, and simply noisy."
        ),
        *results.bias_and_spread(facts),
        *findings.paragraphs(findings.rates_sentence(facts)),
    ]


def monte_carlo(facts: Facts) -> list[Block]:
    """Variance, ESS, Pareto k̂, KL: what says how far k must go, and whether an error bar can be believed."""
    return [
        Heading(2, "How far k must go"),
        Paragraph(
            "Three numbers tell how good $q$ is. The variance of the weights, as $\\chi^2$, gives the error once $k$ "
            "is large: $\\sqrt{\\chi^2/k}$ nats, and an ESS of $k / (1 + \\chi^2)$. It can be infinite: a $q$ that "
            "is too narrow in one direction meets, now and then, a weight that outweighs all others; until it does, "
            "the estimate is too low and its error bar is too small. The shape parameter $\\hat k$ of a generalised "
            "Pareto distribution fitted to the largest weights warns of this: above 0.5 the variance looks infinite, "
            "above 0.7 not even the mean can be relied on at that sample size. It is fitted to the samples at hand, "
            "and can warn without need or fail to warn; the figure counts both."
        ),
        Paragraph(
            "The third is $\\mathrm{KL}(p(z|x) \\Vert q)$, from the posterior to the proposal: the reverse of the "
            "divergence in the ELBO. About $k \\approx e^{\\mathrm{KL}}$ samples are needed and are enough for an "
            "estimate of use (Chatterjee and Diaconis, 2018). The exponential is the bad news: a factor of ten in "
            f"$k$ buys {math.log(10):.1f} nats of KL, and a proposal that is closer by as much saves the same factor."
        ),
        *results.needed(facts),
        figure(facts, "proposal_quality"),
    ]


def dimension(facts: Facts) -> list[Block]:
    """KL adds up over latents, so k multiplies."""
    return [
        Heading(2, "More latents"),
        Paragraph(
            "Divergences add up over independent parts. If $q$ misjudges each of $d$ latents by the same $c$ nats, "
            "KL is $cd$, and the $k$ needed is $e^{c d}$: multiplied by the same factor with every latent added. "
            "This is the curse of dimension as an estimator of $p(x)$ meets it. It does not strike all proposals "
            "alike, because $c$ is what differs."
        ),
        figure(facts, "dimension"),
    ]


def comparing(facts: Facts) -> list[Block]:
    """What bias and noise do to a comparison of likelihoods."""
    return [
        Heading(2, "What it means for comparing models"),
        Paragraph(
            "Likelihoods are reported in order to be compared. The difference of two estimates holds the difference "
            "that is asked for, plus the difference of two gaps, plus noise from both. Noise averages out over many "
            "images, and can be made to cancel in part by giving both models the same random numbers. The gaps do "
            "neither. They depend on how well each model's posterior happens to fit its proposal, so at a small $k$, "
            "and above all with the ELBO, a comparison rewards the model whose posterior is easier to approximate, "
            "whether or not it explains the data better. Where the gaps outweigh the true difference, more test images "
            "only make the wrong answer more certain. " + findings.gaps_sentence(facts)
        ),
        *findings.paragraphs(findings.ranking_sentence(facts), findings.difference_sentence(facts)),
        figure(facts, "ranking"),
    ]


def cost(facts: Facts) -> list[Block]:
    """What an error costs in seconds, and how runs scale."""
    return [
        Heading(2, "What it costs"),
        Paragraph(
            "Estimators differ in the price of a sample as well as in its worth. The fair measure is the error "
            "reached in a given time: MSE × time is constant along a line of slope −1/2, and an estimator with half "
            "of it needs half the time for the same error."
        ),
        figure(facts, "cost_accuracy"),
        Paragraph(
            "Weights are made and read block by block, so that a run's memory does not grow with $k$, and every "
            "level of $L_k$ is read from the same stream in one pass."
        ),
        figure(facts, "scaling"),
        *where.section(facts, figure(facts, "stages")),
    ]


def very_large(facts: Facts) -> list[Block]:
    """One long stream, read at every k."""
    return [
        Heading(2, "Very large k"),
        Paragraph(
            "So far the errors came from many short streams. A single long one tells as much: its $N$ samples hold "
            "$N/k$ groups of $k$ for every power of two, so that bias and RMSE can be followed from $k$ = 1 up to the "
            "largest $k$ of which there are still 32 groups, decades beyond what one would use. From there on only "
            "the estimate itself is left, to be held against its own error bar as the stream grows. Such a run needs "
            "no more memory than a short one. Its finished parts are kept on disk, so that it can be stopped anywhere "
            "and goes on with the same bits, the next day or with a larger $N$."
        ),
        figure(facts, "large_k"),
    ]


def others(facts: Facts) -> list[Block]:
    """Every model with an exact marginal, and the two routes to it."""
    return [
        Heading(2, "Models with exact marginals"),
        Paragraph(
            "What was seen on a few models is not special to them. $\\log p(x)$ is exact wherever the latents can be "
            "summed over or integrated out: mixtures, layers of binary units by enumeration, hidden Markov models by "
            "the forward algorithm, linear and Gaussian ones by algebra, conjugate priors, a quadrature where each "
            "latent stands alone or where there are two; and targets whose normalising constant is known. An exact "
            "answer that is wrong would make every error here wrong, so each of them is worked out a second time, by "
            "a route that shares no function with the first. The table says how far the two are apart."
        ),
        figure(facts, "models"),
        *results.models(facts),
    ]


def beside(facts: Facts) -> list[Block]:
    """The race against other libraries, and its table."""
    return [
        Heading(2, "Beside other libraries"),
        Paragraph(
            "How much of a time is the machine's and how much the program's shows only beside others. Each library "
            "does the same work here, on the same cores, at the same precision: as its users would first write it, "
            "and in the best of the ways that a search found, with its own functions alone and with parts written by "
            "hand, over arrays of structures and structures of arrays, its "
            "generators and ways to normal numbers, eager and compiled code, the algebra, and chunk sizes. For the "
            "chains, logpx goes through its public `estimate` with the full ladder; the others return one number, "
            "$\\log \\hat p(x)$. All take turns, in an order that changes from round to round, and a time is held "
            "against ours of the same round. Compilation is not in it."
        ),
        figure(facts, "peers"),
        *results.peers(facts),
        Paragraph(
            f"What was to be reached of this, and what was: at the end of [where a sample's time goes]({where.NAME})."
        ),
    ]


def where_time_goes(facts: Facts) -> list[Block]:
    """The page of its own on where a sample's time goes."""
    return numbered(where.blocks(facts, figure(facts, "stages")))


SOURCES = (
    "Y. Burda, R. Grosse, R. Salakhutdinov, *Importance weighted autoencoders*, 2016, arXiv:1509.00519.",
    "S. Chatterjee, P. Diaconis, *The sample size required in importance sampling*, 2018, arXiv:1511.01437.",
    "A. Kong, *A note on importance sampling using standardized weights*, technical report, University of Chicago, "
    "1992.",
    "S. Nowozin, *Debiasing evidence approximations*, ICLR 2018.",
    "A. Owen, *Monte Carlo theory, methods and examples*, 2013.",
    "M. Tipping, C. Bishop, *Probabilistic principal component analysis*, 1999, doi:10.1111/1467-9868.00196.",
    "A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, *Pareto smoothed importance sampling*, 2024, "
    "arXiv:1507.02646.",
    "E. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927, "
    "doi:10.1080/01621459.1927.10502953.",
)
