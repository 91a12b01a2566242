SELECT day, celsius
FROM read_csv('data/temperatures.csv')
