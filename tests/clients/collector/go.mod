module verdigris.example/collector

go 1.25
