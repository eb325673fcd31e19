//! What our build of LuaJIT does in a way of its own, and LuaJIT's own cannot be asked about (it is the same
//! build): tables keep what they have, however they grow and shrink (`luajit-sys/patches/reinsert.c`), and
//! texts are repeated.

use crate::bombs::COLLIDING;
use crate::matcher::in_sandbox;

/// Writes and forgets keys of every kind in a random order, and checks the whole table now and then
/// against a list of what must be there: by lookup, and that `next` gives each key once and no other.
const WORK: &str = r##"
    local random, kept = math.random, {}
    local function key(kind)
        if kind == 1 then return random(1, 600)
        elseif kind == 2 then return random(-300, 2 ^ 31)
        elseif kind == 3 then return random(1, 600) + 0.5
        elseif kind == 4 then return "k" .. random(1, 600)
        elseif kind == 5 then return K[random(1, 300)]
        elseif kind == 6 then kept[#kept + 1] = {} return kept[#kept]
        elseif kind == 7 then return random() < 0.5
        end
        return 2 ^ random(0, 70)
    end

    local function check(t, keys, values, n)
        local here, there = 0, 0
        for i = 1, n do
            if rawget(t, keys[i]) ~= values[i] then
                out("lost " .. tostring(keys[i]))
            end
            there = there + (values[i] ~= nil and 1 or 0)
        end
        local last = nil
        for k, v in next, t do
            here = here + 1
            if t[k] ~= v then out("a pair that is not there: " .. tostring(k)) end
            last = k
        end
        if here ~= there then out("it has " .. here .. " of " .. there) end
        if last ~= nil and next(t, last) ~= nil then out("next goes on") end
        return here
    end

    local most, checks = 0, 0
    for round = 1, 60 do
        local t = round % 3 == 0 and { 1, 2, 3, x = 4, [0.5] = 5 } or table.new(random(0, 40), random(0, 40))
        -- By its text a key has one place in the list: tables have their addresses, `1` and `true` differ.
        local places, keys, values, n = {}, {}, {}, 0
        local function note(k, v)
            local name = type(k) .. (type(k) == "number" and string.format("%.17g", k) or tostring(k))
            if not places[name] then n = n + 1 places[name], keys[n] = n, k end
            values[places[name]] = v
        end
        for k, v in next, t do note(k, v) end
        local kinds = random(1, 8)
        for step = 1, 1500 do
            local k = random() < 0.5 and n > 0 and keys[random(1, n)] or key(random(1, kinds))
            local v = nil
            if random() < 0.6 then v = step end
            t[k] = v
            note(k, v)
            if step % 300 == 0 then
                checks = checks + 1
                most = math.max(most, check(t, keys, values, n))
            end
        end
        -- Most of it goes, so that what is written next makes it smaller.
        for i = 1, n do
            if i % 9 ~= 0 then t[keys[i]] = nil values[i] = nil end
        end
        for i = 1, 700 do local k = -i - 0.25 t[k] = i note(k, i) end
        check(t, keys, values, n)
    end
    out(checks .. " checks")
    out(most > 300 and "large" or "small: " .. most)
"##;

#[test]
fn a_table_keeps_what_it_has_however_its_keys_collide() {
    assert_eq!(in_sandbox(&format!("{COLLIDING}{WORK}")), ["300 checks", "large"]);
}

/// An array that shrinks gives its last values to the hash part.
#[test]
fn an_array_that_shrinks_keeps_its_values() {
    let script = r##"
        for _, size in next, { 10, 100, 1000, 100000 } do
            for _, every in next, { 3, 7, 64, 1000 } do
                local t = table.new(size, 0)
                for i = 1, size do t[i] = i end
                for i = 1, size do if i % every ~= 0 then t[i] = nil end end
                t.x, t.y, t.z = "x", "y", "z"
                local count = 0
                for k, v in next, t do
                    count = count + 1
                    if type(k) == "number" and (k ~= v or k % every ~= 0) then out("wrong: " .. k) end
                end
                if count ~= math.floor(size / every) + 3 then out("it has " .. count) end
                for i = every, size, every do if t[i] ~= i then out("lost " .. i) end end
                -- And back: the array takes from the hash part what belongs to it.
                for i = 1, size do t[i] = i end
                for i = 1, size do if t[i] ~= i then out("lost again " .. i) end end
                if t.x .. t.y .. t.z ~= "xyz" or #t ~= size then out("not as it was") end
            end
        end
        out("done")
    "##;
    assert_eq!(in_sandbox(script), ["done"]);
}

/// Our build of LuaJIT copies in blocks (`luajit-sys/patches/repeat.c`).
#[test]
fn a_repetition_is_what_a_loop_makes() {
    let seen = in_sandbox(
        r#"
        local parts = {}
        for _, text in next, { "x", "ab", "abc", ("0123456789"):rep(7), ("y"):rep(40000) .. "z" } do
            for _, count in next, { 0, 1, 2, 3, 7, 100, 16384, 16385, 20001 } do
                if #text * count < 4e5 then
                    for _, separator in next, { "", ", " } do
                        for i = 1, count do parts[i] = text end
                        local made = text:rep(count, separator)
                        if made ~= table.concat(parts, separator, 1, count) then out(#text .. " " .. count .. " " .. #made) end
                    end
                end
            end
        end
        out("done")"#,
    );
    assert_eq!(seen, ["done"]);
}
