SELECT sum(units * price) AS revenue FROM read_csv('data/orders.csv')
