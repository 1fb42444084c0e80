#!/usr/bin/perl
# peer_cache_memcached.pl - the servers that Cache::Memcached tries; request.h
# has the words that it is asked with.
#
# get_sock() is the client's own.  What it opens connections with is ours: it
# notes the server, and fails, so that the next one is tried.  When storing all
# is the client's.
#
# set namespace TEXT	to store
use strict;
use warnings;
use Cache::Memcached;

package Witness;
our @ISA = ('Cache::Memcached');
our (%slot, @tried, %is_down, $answers);

sub sock_to_host {
	my ($self, $host) = @_;
	push @tried, $slot{$host};
	return $answers && !$is_down{$slot{$host}} ? $host : undef;
}

package main;

my ($all, @at, @server, %down, %set, $client);
my $NOBODY = 0xffff;

sub read_keys {
	my ($path) = @_;
	open my $f, '<:raw', $path or die "$path: $!\n";
	local $/;
	$all = <$f>;
	@at = ();
	for (my $at = 0; $at < length $all; ) {
		my $len = unpack 'v', substr $all, $at, 2;
		push @at, [$at + 2, $len];
		$at += 2 + $len;
	}
}

sub build {
	my ($class) = @_;
	%Witness::slot = %Witness::is_down = ();
	my @list;
	for my $i (0 .. $#server) {
		my ($host, $port, $weight) = @{$server[$i]};
		my $name = $host =~ m{^/} ? $host :
		    $host =~ /:/ ? "[$host]:$port" : "$host:$port";
		$Witness::slot{$name} = $i;
		$Witness::is_down{$i} = 1 if $down{$i};
		push @list, $weight == 1 ? $name : [$name, $weight];
	}
	$client = $class->new({ servers => \@list,
	    namespace => $set{namespace} });
	$client->init_buckets;
}

sub store {
	my ($from, $count) = @_;
	return pack 'v*', map {
		$client->set(substr($all, $at[$_][0], $at[$_][1]), 1) ? 1 : 0
	} $from .. $from + $count - 1;
}

# One try: where the key ends.  More: all that would be tried, were all down.
sub ask {
	my ($from, $count, $tries) = @_;
	$Witness::answers = $tries == 1;
	my $answer = '';
	for my $i ($from .. $from + $count - 1) {
		@Witness::tried = ();
		my $got = $client->get_sock(substr $all, $at[$i][0], $at[$i][1]);
		my @tried = @Witness::tried;
		@tried = defined $got ? ($Witness::slot{$got}) : ()
		    if $tries == 1;
		push @tried, $NOBODY while @tried < $tries;
		$answer .= pack 'v*', @tried[0 .. $tries - 1];
	}
	return $answer;
}

binmode STDOUT;
$| = 1;
while (my $line = <STDIN>) {
	chomp $line;
	my ($word, @rest) = split / /, $line;
	if ($word eq 'new') {
		@server = %down = %set = ();
		$client = undef;
	} elsif ($word eq 'keys') {
		read_keys($rest[0]);
	} elsif ($word eq 'set') {
		$set{$rest[0]} = $rest[1];
	} elsif ($word eq 'server') {
		push @server, \@rest;
	} elsif ($word eq 'down') {
		$down{$rest[0]} = 1;
	} elsif ($word eq 'ask') {
		build('Witness') unless $client;
		print ask(@rest);
	} elsif ($word eq 'store') {
		build('Cache::Memcached') unless $client;
		print store(@rest);
	} else {
		die "not understood: $line\n";
	}
}
