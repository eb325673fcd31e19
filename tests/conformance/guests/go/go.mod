module forebay.test/conformance-guest

go 1.24
