      /* Forebay: in blocks of whole copies, not byte by byte. */
      MSize done = len, block = len;
      memcpy(w, strdata(s), len);
      while (done < tlen) {
	MSize n = block < tlen - done ? block : (MSize)tlen - done;
	memcpy(w + done, w, n);
	done += n;
	if (block < (32 << 10))
	  block = done;
      }
      w += tlen;
