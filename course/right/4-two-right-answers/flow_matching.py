"""Walks from noise to a plan in eight steps, by averages.

Cell: learn
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, [0, AHEAD])
    torch.manual_seed(seed)
    model = network(AHEAD, inputs=3 + 1 + AHEAD)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for step in range(1_000):
        optimizer.param_groups[0]["lr"] = 0.005 * (1 - step / 1_000)
        batch = torch.randint(len(plans), (512,))
        noise, time = torch.randn(512, AHEAD), torch.rand(512, 1)
        place = (1 - time) * noise + time * plans[batch]
        end = model(torch.cat([states[batch], time, place], 1))
        error = functional.mse_loss(end, plans[batch])
        optimizer.zero_grad()
        error.backward()
        optimizer.step()

    @torch.no_grad()
    def planner(states, rng):
        place = torch.tensor(rng.standard_normal((len(states), AHEAD)), dtype=torch.float32)
        for step in range(8):
            time = torch.full((len(states), 1), step / 8)
            end = model(torch.cat([torch.from_numpy(states), time, place], 1))
            place = place + (end - place) / (8 - step)
        return place.numpy()

    return planner
