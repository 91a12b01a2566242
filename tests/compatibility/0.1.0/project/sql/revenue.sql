-- What each customer has ordered since `:since`, the largest first.
SELECT customer, count(*) AS orders, round(sum(units * price), 2) AS revenue
FROM read_csv('data/orders.csv')
WHERE placed >= CAST(:since AS DATE)
GROUP BY customer
ORDER BY revenue DESC, customer
