<?php
namespace Opencart\System\Engine;
class Controller { public function __construct(public $config, public $db, public $request, public $log, public $model_checkout_order) {} }
class Get { public function __construct(private array $all) {} public function get($name) { return $this->all[$name] ?? null; } }
class Db { public $row; public function query($text) { $this->row = ['token' => getenv('TOKEN')]; return $this; } public function escape($text) { return $text; } }
class Log { public function write($text) { fwrite(STDOUT, $text); } }
class Orders {
  public function getOrder($id) { return ['order_id' => $id, 'total' => '252.4000', 'email' => ' Bob.Norman@mail.example', 'date_added' => '2026-11-27 09:00:00']; }
  public function getTotals($id) { return [['code' => 'sub_total', 'value' => 202], ['code' => 'shipping', 'value' => 5], ['code' => 'coupon', 'value' => -10]]; }
  public function getProducts($id) { return [['model' => 'iPhone', 'name' => 'i &amp; Phone', 'quantity' => 2, 'price' => 101, 'tax' => 22.7]]; }
}
define('DB_PREFIX', 'oc_');
require $argv[1];
$config = new Get(['module_clew_status' => 1, 'module_clew_url' => $argv[2], 'module_clew_secret' => $argv[3], 'config_currency' => 'USD',
  'config_processing_status' => [1, 2, 5, 12], 'config_complete_status' => [5]]);
$module = new \Opencart\Catalog\Controller\Extension\Clew\Clew($config, new Db, null, new Log, new Orders);
[$route, $args, $output] = ['', [1, (int)$argv[4]], null];
$module->report($route, $args, $output);
