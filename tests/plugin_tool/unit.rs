//! Unit tests in Lua: files named `…_spec.lua`, in busted's style.

use harness::folder::Folder;

use crate::{Said, plugin, tool};

fn with(spec: &str) -> (Folder, Said) {
    let folder = plugin("['dict:d']", "return {}", "- name: the plugin starts\n");
    folder.write(
        "sums.lua",
        "local M = {} function M.add(a, b) if not b then error('no b') end return a + b end return M",
    );
    folder.write("sums_spec.lua", spec);
    let said = tool(&["test"], folder.path());
    (folder, said)
}

#[track_caller]
fn passes(spec: &str, tests: usize) {
    let (_folder, said) = with(spec);
    assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
    assert!(said.out.ends_with(&format!("{} passed, 0 failed\n", tests + 1)), "{}", said.out);
}

/// Each of these tests fails, with these words.
#[track_caller]
fn fails(spec: &str, parts: &[&str]) {
    let (_folder, said) = with(spec);
    assert_eq!(said.code, 1, "{}{}", said.out, said.errors);
    for part in parts {
        assert!(said.out.contains(part), "no {part:?} in\n{}", said.out);
    }
}

#[test]
fn the_assertions_that_people_use_hold_and_fail_as_they_know_them() {
    let spec = "local sums = require('sums')
describe('sums', function()
  local calls = {}
  before_each(function() calls[#calls + 1] = 'before' end)
  after_each(function() calls = {} end)
  it('adds', function()
    assert.are.equal(3, sums.add(1, 2)) assert.equals(3, 3) assert.are_equal('a', 'a')
    assert.is.equal(1, 1) assert.are_not.equal(1, 2) assert.is_not.equal(1, '1')
  end)
  context('inside', function()
    before_each(function() calls[#calls + 1] = 'inner' end)
    it('runs what stands before it, outermost first, and afresh', function()
      assert.are.same({ 'before', 'inner' }, calls)
    end)
  end)
  it('compares tables by what they hold', function()
    assert.same({ a = { 1, 2 } }, { a = { 1, 2 } }) assert.are_not.same({ 1 }, { 1, 2 }) assert.are_not.equal({}, {})
  end)
  it('knows kinds and truth', function()
    assert.is_true(true) assert.is_false(false) assert.is_nil(nil) assert.is_not_nil(1) assert.True(true)
    assert.truthy(0) assert.falsy(nil) assert.is_truthy('x') assert.is_string('x') assert.is_table({})
    assert.is_function(print or function() end) assert.is_number(1) assert.is_not_true(1) assert(1 == 1, 'plain')
  end)
  it('catches errors', function()
    assert.has_error(function() sums.add(1) end) assert.has.errors(function() sums.add(1) end, 'no b')
    assert.has_no.errors(function() sums.add(1, 2) end) assert.error_matches(function() sums.add(1) end, 'no %a')
    assert.has_error(function() error({ code = 1 }) end, { code = 1 })
  end)
  it('matches', function() assert.matches('^a+$', 'aaa') assert.near(1, 1.05, 0.1) end)
end)";
    passes(spec, 6);
}

#[test]
fn what_does_not_hold_says_where_what_was_expected_and_what_was_found() {
    let spec = "describe('a', function()
  it('one', function() assert.are.equal(1, 2) end)
  it('two', function() assert.same({ a = 1 }, { a = 2 }) end)
  it('three', function() assert.is_nil('x') end)
  it('four', function() error('by itself') end)
  it('five', function() assert.has_no.errors(function() error('x') end) end)
  it('six', function() assert.are_not.equal('same', 'same') end)
  it('seven', function() assert.has_error(function() end) end)
  it('fine', function() end)
end)";
    let parts = [
        "sums_spec.lua:2: equal",
        "expected  1",
        "found     2",
        "sums_spec.lua:3: same",
        "a = 1",
        "a = 2",
        "sums_spec.lua:4: nil",
        "sums_spec.lua:5: by itself",
        "not an error",
        "not \"same\"",
        "sums_spec.lua:8: error",
        "ok    a fine",
        "2 passed, 7 failed",
    ];
    fails(spec, &parts);
}

#[test]
fn a_test_that_never_ends_or_eats_all_memory_fails_alone() {
    let spec = "describe('a', function()
  it('loops', function() while true do end end)
  it('eats', function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end)
  it('goes on', function() assert.is_true(true) end)
end)";
    fails(
        spec,
        &["FAIL  a loops", "CPU in on_request_headers", "FAIL  a eats", "ok    a goes on", "2 passed, 2 failed"],
    );
}

#[test]
fn forebay_is_there_and_waiting_takes_no_time() {
    let spec = "describe('forebay', function()
  it('sleeps', function() local before = forebay.now() forebay.sleep(3600) assert.equal(3600, forebay.now() - before) end)
  it('keeps dictionaries', function() forebay.dict('d'):set('k', 'v') assert.equal('v', (forebay.dict('d'):get('k'))) end)
  it('refuses what the manifest does not ask for', function()
    local got, why = forebay.dict('other'):get('k')
    assert.is_nil(got) assert.equal('CAPABILITY_DENIED', why.code)
  end)
  it('can call what the plugin returns', function() assert.is_table(require('main')) end)
end)";
    passes(spec, 4);
}

#[test]
fn the_sandbox_is_that_of_the_plugin() {
    let spec = "describe('a', function()
  it('has no way out', function()
    for _, name in ipairs { 'io', 'debug', 'package', 'ffi', 'jit', 'dofile', 'loadfile' } do assert.is_nil(_G[name]) end
    assert.has_error(function() require('../../etc/passwd') end)
  end)
end)";
    passes(spec, 1);
}

#[test]
fn what_is_not_supported_is_an_error_that_says_so() {
    fails("describe('a', function() pending('later') end)", &["pending: not supported: a test that does not run"]);
    fails("describe('a', function() setup(function() end) end)", &["setup: not supported: use before_each"]);
    fails("describe('a', function() it('x', function() spy.on({}, 'y') end) end)", &["spy: not supported"]);
    let parts = ["assert: no assertion \"sorted\"; there are: ", "truthy"];
    fails("describe('a', function() it('x', function() assert.is_sorted({}) end) end)", &parts);
    fails("describe('a', function() it('x') end)", &["it takes a name and a function"]);
}

#[test]
fn a_file_without_a_test_or_that_does_not_load_fails() {
    fails("local x = 1", &["at least one `it`"]);
    fails("describe('a', function() error('while read') end)", &["sums_spec.lua:1: while read"]);
    fails("describe('a', function(", &["sums_spec.lua"]);
}

#[test]
fn a_filter_takes_unit_tests_too() {
    let spec = "describe('a', function() it('one', function() end) it('two', function() error('x') end) end)";
    let (folder, said) = with(spec);
    assert_eq!(said.code, 1, "{}", said.out);
    let said = tool(&["test", "--filter", "a one"], folder.path());
    assert_eq!(
        (said.code, said.out.lines().last()),
        (0, Some("1 passed, 0 failed, 2 left out by --filter")),
        "{}",
        said.out
    );
}
