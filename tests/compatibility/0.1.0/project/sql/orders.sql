-- What the sensor watches: every order. Its key is `order_id`, so that orders which are placed, edited
-- or cancelled are told apart.
SELECT order_id, placed, customer, article, units, price
FROM read_csv('data/orders.csv')
ORDER BY order_id
