"""The solutions of the exercises: cells of a notebook, and names are those of its cells.

``# %% 2.1`` takes the place of a stub; ``# %% 2.1 result`` runs after all checks, and what it
prints stands in the notebook. refresh.py writes both into the folded solutions.
"""


# %% 1.1
def toss(images, epsilon):
    signs = torch.randn_like(images).sign()
    return (images + epsilon * signs).clamp(0, 1)


# %% 1.1 result
torch.manual_seed(0)
course_model = models.load_mlp()
some_images, some_labels = data.load_mnist("test")
for epsilon in (0.1, 0.15, 0.2, 0.25, 0.3):
    share = evaluation.accuracy(course_model, toss(some_images, epsilon), some_labels)
    print(f"±{epsilon:<4}: accuracy {share:.1%}")


# %% 1.2
def share_wrong(probabilities, labels, at_least):
    confidence, predictions = probabilities.max(1)
    sure = confidence >= at_least
    return (predictions[sure] != labels[sure]).float().mean().item()


# %% 1.2 result
course_model = models.load_mlp()
some_images, some_labels = data.load_mnist("test")
some_probabilities = evaluation.probabilities(course_model, some_images)
for at_least in (0.5, 0.9, 0.99):
    share = share_wrong(some_probabilities, some_labels, at_least)
    print(f"of the answers with at least {at_least:.0%}, {share:.2%} are wrong")

# %% 1.3 result
torch.manual_seed(0)
digits, digit_labels = data.load_mnist("train")
unseen = data.load_mnist("test")
small = nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 10))
history_small = models.train_mlp(small, digits, digit_labels, epochs=5, test=unseen)
print(f"\n30 hidden units read more than {int(100 * history_small['accuracy'][-1])} % correctly")


# %% 2.1
def fgsm_twice(model, images, labels, epsilon):
    adv_images = images
    for _ in range(2):
        data_grad = input_gradient(model, adv_images, labels)
        adv_images = fgsm(adv_images, epsilon / 2, data_grad)
    return adv_images


# %% 2.1 result
one_step = fgsm(images, 0.1, input_gradient(model, images, labels))
two_steps = fgsm_twice(model, images, labels, 0.1)
for name, adv in (("one step", one_step), ("two half steps", two_steps)):
    print(f"{name}: accuracy {evaluation.accuracy(model, adv, labels):.1%}")


# %% 2.2
def few_pixels(images, epsilon, data_grad, k):
    chosen = data_grad.abs().flatten(1).topk(k).indices
    mask = torch.zeros_like(data_grad).flatten(1).scatter(1, chosen, 1).view(images.shape)
    return fgsm(images, epsilon, mask * data_grad)


# %% 2.2 result
data_grad = input_gradient(model, images, labels)
for epsilon in (0.1, 0.15, 0.2, 0.25):
    few, all_ = few_pixels(images, epsilon, data_grad, 100), fgsm(images, epsilon, data_grad)
    left, left_by_all = (evaluation.accuracy(model, adv, labels) for adv in (few, all_))
    print(f"epsilon {epsilon:<4}: accuracy {left:.1%} with 100 pixels, {left_by_all:.1%} with all")


# %% 2.3
def steer(model, images, targets, epsilon, steps):
    adv_images = images
    for _ in range(steps):
        data_grad = input_gradient(model, adv_images, targets)
        adv_images = fgsm(adv_images, epsilon / steps, -data_grad)
    return adv_images


# %% 2.3 result
targets = torch.arange(10)
copies = images[:1].expand(10, -1, -1, -1)
guesses = model(steer(model, copies, targets, 0.15, 10)).argmax(1)
print("targets:", *targets.tolist())
print("says:   ", *guesses.tolist())


# %% 3.1
def success_rates(model, images, labels, epsilons):
    right = evaluation.probabilities(model, images).argmax(1) == labels
    images, labels = images[right], labels[right]
    data_grad = attacks.input_gradient(model, images, labels)
    return [
        1 - evaluation.accuracy(model, attacks.fgsm(images, epsilon, data_grad), labels)
        for epsilon in epsilons
    ]


# %% 3.1 result
for epsilon, rate in zip(epsilons, success_rates(model, images, labels, epsilons), strict=True):
    print(f"epsilon {epsilon:<4}: FGSM succeeds on {rate:.1%}")


# %% 3.2
def first_fooling(model, images, labels, epsilons):
    data_grad = attacks.input_gradient(model, images, labels)
    first = torch.full((len(images),), torch.inf)
    for epsilon in reversed(epsilons):
        adv_images = attacks.fgsm(images, epsilon, data_grad)
        fooled = evaluation.probabilities(model, adv_images).argmax(1) != labels
        first[fooled] = epsilon
    return first


# %% 3.2 result
fine = [k / 100 for k in range(16)]
first = first_fooling(model, images[:2000], labels[:2000], fine)
bisected = evaluation.minimal_epsilon(model, images[:2000], labels[:2000])
print(f"not fooled up to {fine[-1]}: {first.isinf().sum()} of 2000")
found = first.isfinite()
print(f"at most 0.01 + 1/1024 above the bisection: {(first - bisected)[found].max() < 0.011}")


# %% 3.3
def estimate(model, images):
    images = images.clone().requires_grad_()
    top = model(images).topk(2).values
    margin = top[:, 0] - top[:, 1]
    (slope,) = torch.autograd.grad(margin.sum(), images)
    return margin.detach() / slope.abs().sum((1, 2, 3))


# %% 3.3 result
least = evaluation.minimal_epsilon(model, images, labels)
right = (least > 0) & least.isfinite()
estimated = estimate(model, images[right])
logits = model(images[right]).topk(2).values
for name, values in (
    ("the estimate", estimated),
    ("the margin alone", logits[:, 0] - logits[:, 1]),
):
    r = torch.corrcoef(torch.stack([least[right], values]))[0, 1]
    print(f"correlation of {name} with the least epsilon: {r:.2f}")
print(
    f"median of the least epsilon {least[right].median():.3f}, estimated {estimated.median():.3f}"
)


# %% 4.1
def random_targets(labels):
    return (labels + torch.randint(1, 10, labels.shape)) % 10


# %% 4.1 result
torch.manual_seed(0)
drawn = (random_targets(labels) - labels) % 10
print("how often each offset came up:", *drawn.bincount(minlength=10).tolist())


# %% 4.2
easiest = (sizes.masked_fill(~wrong, 0).sum(0) / wrong.sum(0)).argmin()

# %% 4.2 result
by_class = sizes.masked_fill(~wrong, 0).sum(0) / wrong.sum(0)
for digit, size in enumerate(by_class):
    print(f"to {digit}: {size:.3f}")


# %% 4.3
def l1_noise(model, images, targets, c):
    noise = torch.zeros_like(images)
    for _ in range(1000):
        noise.requires_grad_()
        logits = model(images + noise)
        missed = logits.argmax(1) != targets
        if not missed.any():
            break
        loss = F.cross_entropy(logits, targets, reduction="sum") + c * noise.abs().sum()
        (gradient,) = torch.autograd.grad(loss, noise)
        stepped = (images + noise - 0.008 * gradient * missed.view(-1, 1, 1, 1)).clamp(0, 1)
        noise = (stepped - images).detach()
    return noise.detach()


# %% 4.3 result
twenty, to = images[:20], targets[:20]
found = {"squares, c = 0.1": attacks.optimize_noise(model, twenty, to, c=0.1)}
for c in (0.1, 0.3):
    found[f"absolute values, c = {c}"] = l1_noise(model, twenty, to, c)
for name, r in found.items():
    hits = evaluation.probabilities(model, (twenty + r).clamp(0, 1)).argmax(1) == to
    share = (r.abs() > 0.01).float().mean()
    print(f"{name}: {hits.sum()} of 20 reached, {share:.0%} of the pixels moved by more than 0.01")


# %% 4.4
def largest_c(reached, low, high):
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        if reached(middle):
            low = middle
        else:
            high = middle
    return low


# %% 4.4 result
one, to = images[3:4], targets[3:4]


def reached(c):
    r = attacks.optimize_noise(model, one, to, c=c)
    return (evaluation.probabilities(model, (one + r).clamp(0, 1)).argmax(1) == to).item()


print(
    f"the largest c that turns this {labels[3]} into a {to[0]}: {largest_c(reached, 0.01, 100):.1f}"
)


# %% 5.1
from io import BytesIO

from torchvision.transforms.v2.functional import to_pil_image


def through_jpeg(images, quality):
    read_images = []
    for image in images:
        file = BytesIO()
        to_pil_image((image * 255).round().byte()).save(file, "jpeg", quality=quality)
        read_images.append(pil_to_tensor(Image.open(file)) / 255)
    return torch.stack(read_images).to(images)


# %% 5.1 result
for level in (0.5, 1, 2):
    made = attacks.fgsm(images, level / 255, data_grad)
    for name, adv in (("before", made), ("after JPEG 90", through_jpeg(made, 90))):
        fooled = evaluation.probabilities(model, adv).argmax(1) != labels
        print(f"{model.name}, {level}/255, {name}: {fooled.sum()} of {len(images)} fooled")


# %% 5.2
def bim(model, images, labels, epsilon, alpha, steps):
    adv_images = images
    for _ in range(steps):
        adv_images = attacks.fgsm_attack(model, adv_images, labels, alpha)
        adv_images = adv_images.clamp(images - epsilon, images + epsilon)
    return adv_images


# %% 5.2 result
mlp, (digits, digit_labels) = models.load_mlp(), data.sample_mnist(1000)
one_step = attacks.fgsm_attack(mlp, digits, digit_labels, 0.1)
ten_steps = bim(mlp, digits, digit_labels, epsilon=0.1, alpha=0.03, steps=10)
for name, adv in (("one step of 0.1", one_step), ("ten steps of 0.03 within 0.1", ten_steps)):
    print(f"digits, {name}: accuracy {evaluation.accuracy(mlp, adv, digit_labels):.1%}")


# %% 5.3
def fgsm_normalised(z, epsilon, data_grad, mean, std):
    black, white = (0 - mean) / std, (1 - mean) / std
    stepped = z + epsilon / std * data_grad.sign()
    return torch.maximum(torch.minimum(stepped, white), black)


# %% 5.3 result
normalize, network = model
mean, std = normalize.mean, normalize.std
z = normalize(images)
z_grad = attacks.input_gradient(model, images, labels) * std  # by the chain rule
repaired = fgsm_normalised(z, 2 / 255, z_grad, mean, std)
broken = (z + 2 / 255 * z_grad.sign()).clamp(0, 1)
for name, adv in (("clean", z), ("broken", broken), ("repaired", repaired)):
    change = 255 * ((adv - z) * std).abs().max()
    fooled = (network(adv).argmax(1) != labels).sum()
    print(
        f"{model.name}, {name}: {fooled} of 10 misread, pixels moved by up to {change:.1f} levels"
    )


# %% 6.1
def halves(n):
    order = torch.randperm(n)
    return order[: n // 2], order[n // 2 :]


# %% 6.1 result
torch.manual_seed(0)
ink, rows = train_images.mean((1, 2, 3)), torch.arange(60_000)
for name, (one, other) in {
    "first and second": (rows[:30_000], rows[30_000:]),
    "even and odd": (rows[::2], rows[1::2]),
    "drawn at random": halves(60_000),
}.items():
    print(f"{name:<16}: one half holds {ink[one].mean() / ink[other].mean() - 1:+.1%} ink")


# %% 6.2
def transfer_table(readers, images, labels, epsilon):
    table = torch.zeros(len(readers), len(readers))
    for i, source in enumerate(readers):
        adv_images = attacks.fgsm_attack(source, images, labels, epsilon)
        for j, reader in enumerate(readers):
            table[i, j] = 1 - evaluation.accuracy(reader, adv_images, labels)
    return table


# %% 6.2 result
at_a_fifth = transfer_table(six, test_images[:2000], test_labels[:2000], 0.2)
for source, line in zip(six, at_a_fifth, strict=True):
    print(f"{source.name:<18}", "".join(f"{error:6.0%}" for error in line))


# %% 6.3
def transfer_rate(source, reader, images, labels, epsilon):
    adv_images = attacks.fgsm_attack(source, images, labels, epsilon)
    before = [network(images).argmax(1) == labels for network in (source, reader)]
    fooled = [network(adv_images).argmax(1) != labels for network in (source, reader)]
    tried = before[0] & before[1] & fooled[0]
    return fooled[1][tried].float().mean().item()


# %% 6.3 result
for reader in six[1:]:
    made = attacks.fgsm_attack(mlp, test_images, test_labels, 0.1)
    plain = 1 - evaluation.accuracy(reader, made, test_labels)
    rate = transfer_rate(mlp, reader, test_images, test_labels, 0.1)
    print(f"{reader.name:<18}: error {plain:.0%}, rate {rate:.0%}")


# %% 7.1
def adversarial_epoch(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in zip(images.split(64), labels.split(64), strict=True):
        adv_images = attacks.fgsm_attack(model, x, y, epsilon)
        loss = F.cross_entropy(model(adv_images), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


# %% 7.1 result
part, part_labels = train_images[:12_800], train_labels[:12_800]
moving, still = (deepcopy(model).requires_grad_() for _ in range(2))
adversarial_epoch(moving, torch.optim.Adam(moving.parameters()), part, part_labels, 0.25)
old_noise = attacks.fgsm_attack(model, part, part_labels, 0.25)  # made once, for another network
adversarial_epoch(still, torch.optim.Adam(still.parameters()), old_noise, part_labels, 0)

old = attacks.fgsm_attack(model, images, labels, 0.25)
for name, network in (("noise made anew", moving), ("noise made once", still)):
    new = attacks.fgsm_attack(network, images, labels, 0.25)
    for noise, adv_images in (("the old noise", old), ("its own", new)):
        verb = "misreads" if error(network, adv_images) > 0.5 else "reads"
        print(f"{name}: {verb} most images with {noise}")


# %% 7.2
def leak(model, images, labels, epsilon):
    right = evaluation.probabilities(model, images).argmax(1) == labels
    images, labels = images[right], labels[right]
    believed = 0
    for offset in range(1, 10):
        lies = (labels + offset) % 10
        adv_images = attacks.fgsm_attack(model, images, lies, epsilon)
        believed += evaluation.accuracy(model, adv_images, lies)
    return believed / 9


# %% 7.2 result
for network in (model, fgsm_10, fgsm_25):
    wrong = evaluation.probabilities(network, images).argmax(1) != labels
    tossed = attacks.fgsm(images[wrong], 0.25, torch.randn_like(images[wrong]))
    healed = evaluation.accuracy(network, tossed, labels[wrong])
    believed = leak(network, few, few_labels, 0.25)
    print(f"{network.name:<21}: {believed:.1%} of the lies believed,", end=" ")
    print(f"{healed:.0%} of the misread healed by random signs")


# %% 7.3
def worst_case(model, images, labels, attempts):
    survived = evaluation.probabilities(model, images).argmax(1) == labels
    for attempt in attempts:
        adv_images = attempt(model, images, labels)
        survived &= evaluation.probabilities(model, adv_images).argmax(1) == labels
    return survived.float().mean().item()


# %% 7.3 result
attempts = {
    "FGSM": lambda network, x, y: attacks.fgsm_attack(network, x, y, 0.1),
    "the noise of the clean-trained": lambda network, x, y: attacks.fgsm_attack(model, x, y, 0.1),
    "random signs": lambda network, x, y: attacks.fgsm(x, 0.1, torch.randn_like(x)),
}
for network in (fgsm_25, pgd_25):
    print(network.name)
    for name, attempt in attempts.items():
        print(f"    {name:<30} {worst_case(network, few, few_labels, [attempt]):.0%}")
    print(f"    {'all three':<30} {worst_case(network, few, few_labels, attempts.values()):.0%}")
