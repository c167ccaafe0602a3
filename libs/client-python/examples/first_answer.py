"""A first event and a first answer. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where."""

from penstock import Client, Filter, Query

with Client() as penstock:  # or Client("127.0.0.1:7070", key, app="xyz123")
    penstock.identify("u1", {"country": "DE", "plan": "pro"})
    penstock.track("purchase", "u1", {"amount": 12.5, "status": "completed"})
    done = penstock.flush()

    answer = penstock.sql("SELECT country, SUM(amount) AS revenue FROM events GROUP BY country", after=done)
    for country, revenue in answer:
        print(country, revenue)

    by_day = Query(measures={"revenue": "SUM(amount)"}, filters=[Filter("status", "=", "completed")], grain="day")
    print(penstock.query(by_day, after=done).to_pandas())
