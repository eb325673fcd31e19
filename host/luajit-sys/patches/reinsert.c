/* Forebay: a table that is resized takes its pairs over in two rounds, none of which walks a chain.
** Its keys are known to differ, so nothing is looked up. In the first round a key gets the node that
** its hash names, if that is empty; so in the second such a node is always the head of its own chain,
** and what is left goes behind it, into any free node. Keys that collide, as a script can choose them,
** so cost no more than others: nothing could end the script in the middle of this. */

/* First round: moves a pair to where it belongs, if nothing is there. */
static void reinsertmain(lua_State *L, GCtab *t, cTValue *key, TValue *val)
{
  Node *n;
  if (tvisnum(key)) {
    int64_t i64;
    int32_t k;
    if (lj_num2int_check(numV(key), i64, k) && inarray(t, k)) {
      copyTV(L, arrayslot(t, k), val);
      setnilV(val);
      lj_gc_anybarriert(L, t);
      return;
    }
  }
  n = hashkey(t, key);
  if (t->hmask == 0 || !tvisnil(&n->key))
    return;
  n->key.u64 = key->u64;
  copyTV(L, &n->val, val);
  setnilV(val);
  lj_gc_anybarriert(L, t);
}

/* Second round: links a pair behind the one that took its place. */
static void reinsertrest(lua_State *L, GCtab *t, cTValue *key, TValue *val)
{
  Node *n = hashkey(t, key), *base = noderef(t->node);
  Node *freenode = getfreetop(t, base);
  if (t->hmask > 0 && !tvisnil(&n->key) && hashkey(t, &n->key) == n) {
    while (freenode > base) {
      if (tvisnil(&(--freenode)->key)) {
	setfreetop(t, base, freenode);
	freenode->key.u64 = key->u64;
	copyTV(L, &freenode->val, val);
	setmrefr(freenode->next, n->next);
	setmref(n->next, freenode);
	lj_gc_anybarriert(L, t);
	return;
      }
    }
  }
  copyTV(L, lj_tab_set(L, t, key), val);  /* No room: as ever, it grows. */
}

