vcl 4.1;
# A POST cached by its body: vmod_bodyaccess is in Debian's varnish-modules.
import std;
import bodyaccess;

backend default {
  .host = "127.0.0.1";
  .port = "@MOCK@";
}

sub vcl_recv {
  if (req.method == "POST") {
    std.cache_req_body(8MB);
    return (hash);
  }
}

sub vcl_hash {
  bodyaccess.hash_req_body();
}

sub vcl_backend_fetch {
  set bereq.method = "POST";
  return (fetch);
}

sub vcl_backend_response {
  if (beresp.status == 200) {
    set beresp.ttl = 24h;
    return (deliver);
  }
}
