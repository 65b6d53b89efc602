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
