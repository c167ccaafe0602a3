"""Follows an answer while events arrive. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where."""

import asyncio

from penstock import AsyncClient, Filter, Query

WANTED = 10


async def shop(penstock: AsyncClient) -> None:
    """Somebody buys something."""
    for n in range(WANTED):
        await penstock.track("order", f"u{n % 3}", {"amount": 10 + n})
        await asyncio.sleep(0.1)


async def main() -> None:
    async with AsyncClient() as penstock:
        shopping = asyncio.create_task(shop(penstock))
        orders = Query({"orders": "COUNT(*)", "revenue": "SUM(amount)"}, filters=[Filter("event_type", "=", "order")])
        async for update in penstock.subscribe(orders, min_interval=0.2):
            [row] = update.result.dicts()
            print(f"{row['orders']} orders, {row['revenue'] or 0} in all", flush=True)
            if row["orders"] >= WANTED:
                break
        await shopping


asyncio.run(main())
