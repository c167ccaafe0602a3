# %% [markdown]
# # Who comes back? Retention by the week of signup
#
# A notebook in cells, as editors and Jupyter (with jupytext) open them; it also runs as a program. PENSTOCK_ADDRESS, PENSTOCK_KEY and
# PENSTOCK_APP say where. The key needs the permissions `query` and `export`, and for the made events `ingest` and `backfill`.

# %%
import random
from datetime import datetime, timedelta, timezone

import pandas as pd

from penstock import Client

penstock = Client()

# %% [markdown]
# ## Some users
#
# Six weeks of signups. Who signs up later, after the product got better, comes back more often.

# %%
WEEKS = 6
chance = random.Random(7)
monday = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
monday -= timedelta(days=monday.weekday())
start = monday - timedelta(weeks=WEEKS)

for cohort in range(WEEKS):
    for n in range(40):
        user = f"cohort{cohort}-{n}"
        signed_up = start + timedelta(weeks=cohort, hours=chance.randrange(24 * 7))
        penstock.track("signup", user, {"channel": chance.choice(["ads", "search", "friends"])}, timestamp=signed_up)
        for week in range(cohort + 1, WEEKS):
            if chance.random() < 0.35 + 0.07 * cohort:
                visited = start + timedelta(weeks=week, hours=chance.randrange(24 * 7))
                penstock.track("visit", user, timestamp=visited)

done = penstock.flush()
print(f"{done.accepted} events")

# %% [markdown]
# ## One question
#
# Each user's first week, joined with the weeks in which the user was there. An export has no cap on rows, and comes as Arrow.

# %%
weeks = penstock.export(
    """
    WITH signups AS (
        SELECT user_id, date_trunc('week', MIN(timestamp)) AS cohort FROM events WHERE event_type = 'signup' GROUP BY user_id
    ), active AS (
        SELECT user_id, date_trunc('week', timestamp) AS week FROM events GROUP BY user_id, week
    )
    SELECT s.cohort AS cohort, a.week AS week, COUNT(DISTINCT a.user_id) AS users
    FROM active AS a JOIN signups AS s ON a.user_id = s.user_id
    GROUP BY cohort, week ORDER BY cohort, week
    """,
    after=done,
    time_zone="UTC",
).to_pandas()

# %% [markdown]
# ## The triangle

# %%
weeks["age"] = (weeks["week"] - weeks["cohort"]).dt.days // 7
users = weeks.pivot(index="cohort", columns="age", values="users")
retention = users.div(users[0], axis=0)
retention.index = retention.index.strftime("%Y-%m-%d")

with pd.option_context("display.width", 120, "display.float_format", "{:.0%}".format):
    print(retention.to_string(na_rep=""))

# %%
# In a notebook: retention.style.format("{:.0%}", na_rep="").background_gradient(axis=None)
penstock.close()
