<?php
/*
 * peer_php_memcache.php - the servers that php's memcache extension chooses;
 * request.h has the words that it is asked with.
 *
 * set strategy standard | consistent
 * set function crc32 | fnv
 * set namespace TEXT		to store
 *
 * findServer() is the client's own.  A server that is down is one that was
 * added with status false, and that is never to be tried again.  Opens no
 * connection, but to store.  TRIES is 1: where the key ends.
 */
declare(strict_types=1);

const NOBODY = 0xffff;

class Peer
{
	private string $all = '';
	private array $at = [];
	private array $set = [];
	private array $servers = [];
	private array $down = [];
	private array $slot = [];
	private ?MemcachePool $pool = null;

	public function keys(string $path): void
	{
		$this->all = file_get_contents($path);
		$this->at = [];
		for ($at = 0; $at < strlen($this->all); $at += 2 + $len) {
			$len = unpack('v', $this->all, $at)[1];
			$this->at[] = [$at + 2, $len];
		}
	}

	public function forget(): void
	{
		$this->set = $this->servers = $this->down = [];
		$this->pool = null;
	}

	public function set(string $word, string $value): void
	{
		$this->set[$word] = $value;
	}

	public function server(string $host, string $port, string $weight): void
	{
		if ($host[0] == '/')
			$host = "unix://$host";
		elseif (str_contains($host, ':'))
			$host = "[$host]";
		$this->servers[] = [$host, (int)$port, (int)$weight];
	}

	public function down(string $slot): void
	{
		$this->down[(int)$slot] = true;
	}

	private function build(): void
	{
		ini_set('memcache.hash_strategy', $this->set['strategy']);
		ini_set('memcache.hash_function', $this->set['function']);
		ini_set('memcache.prefix_static_key',
		    $this->set['namespace'] ?? '');
		$this->pool = new MemcachePool();
		$this->slot = [];
		foreach ($this->servers as $i => [$host, $port, $weight]) {
			$this->slot["$host:$port"] ??= $i;
			$this->pool->addServer($host, $port, 0, false, $weight,
			    1, -1, !isset($this->down[$i]));
		}
	}

	public function ask(int $from, int $count, int $tries): string
	{
		if ($tries != 1)
			exit("one try only\n");
		if (!$this->pool)
			$this->build();
		$answer = [];
		for ($i = $from; $i < $from + $count; $i++) {
			[$at, $len] = $this->at[$i];
			$found = $this->pool->findServer(
			    substr($this->all, $at, $len));
			$answer[] = $this->slot[$found] ?? NOBODY;
		}
		return pack('v*', ...$answer);
	}

	public function store(int $from, int $count): string
	{
		if (!$this->pool)
			$this->build();
		$stored = [];
		for ($i = $from; $i < $from + $count; $i++) {
			[$at, $len] = $this->at[$i];
			$stored[] = (int)$this->pool->set(
			    substr($this->all, $at, $len), '1');
		}
		return pack('v*', ...$stored);
	}
}

ini_set('display_errors', 'stderr');
$peer = new Peer();
while (($line = fgets(STDIN)) !== false) {
	$rest = explode(' ', rtrim($line, "\n"));
	$word = array_shift($rest);
	if ($word == 'new')
		$peer->forget();
	elseif ($word == 'ask' || $word == 'store')
		fwrite(STDOUT, $peer->$word(...array_map('intval', $rest)));
	else
		$peer->$word(...$rest);
}
